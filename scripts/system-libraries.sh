#!/bin/sh
# Install what Qt and a virtual display need from the system, where that is allowed (Debian or Ubuntu,
# as root); otherwise print the one line that does it. Anything else is left to the user's system.
set -eu

packages="python3-venv xvfb libegl1 libgl1 libopengl0 libglib2.0-0 libdbus-1-3 libfontconfig1 \
libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 \
libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libxcb-xkb1"

command -v dpkg-query >/dev/null || exit 0  # not Debian: Qt's wheels and a desktop usually suffice

missing=""
for package in $packages; do
    status=$(dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null || true)
    # Newer releases call some libraries NAMEt64.
    [ -n "$status" ] || status=$(dpkg-query --show --showformat='${Status}' "${package}t64" 2>/dev/null || true)
    [ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
    echo "Installing system libraries:$missing"
    export DEBIAN_FRONTEND=noninteractive
    # Another apt may be at work. `install` waits for it; `update` has no such option, so try again.
    tries=0
    until apt-get update -qq; do
        tries=$((tries + 1))
        [ "$tries" -lt 30 ] || exit 1
        sleep 10
    done
    # shellcheck disable=SC2086  # a list of words is meant
    apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "Qt or the virtual display may need system libraries; if a window does not open, run:"
    echo "    sudo apt-get install$missing"
fi
