"""Models outside of the plugin: exported to ONNX, and served over HTTP."""
