"""The only code that opens files: images, features, masks."""
