"""The Open Inference Protocol v2, REST and gRPC, in the dialect of Triton; KServe v1."""
