"""What tests, benchmarks and the simulation share: the server as a process, its API, and diffusers as the judge."""
