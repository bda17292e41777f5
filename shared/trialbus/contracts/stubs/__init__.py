"""Messages of proto/trialbus, made by `make generate`; nothing here is written by hand."""
