"""Messages of proto/katib/api.proto, made by `make generate`; nothing here is written by hand."""
