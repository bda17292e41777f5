"""Training programs that come with trialbus; each is a command of its own (`python -m`)."""
