"""What pods ship: claims of attempts, and their metrics (docs/explanation/wrapper.md)."""
