"""What people do when somebody misuses the service: report, decide with reasons, appeal."""
