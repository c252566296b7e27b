"""What the windows and the command line both call: values in, values out, nothing printed."""
