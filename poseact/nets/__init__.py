"""The networks: tensors in, tensors out; they know nothing of the command line or of bundles."""
