"""TensorFlow Serving's REST and gRPC APIs: its clients talk to any model here, unmodified."""
