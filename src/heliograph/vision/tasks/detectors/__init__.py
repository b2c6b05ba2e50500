"""The decoders of detection, one file per family of models."""
