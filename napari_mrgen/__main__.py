"""``python -m napari_mrgen``."""

from napari_mrgen.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
