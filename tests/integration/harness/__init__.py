"""What the integration tests share: the server as a process, its API, and diffusers as the reference."""
