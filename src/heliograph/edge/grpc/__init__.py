"""The ground under every gRPC protocol: messages, calls, the server, health."""
