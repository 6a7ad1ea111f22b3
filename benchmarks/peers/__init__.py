"""The systems of a comparison. Each serves the same bundle to the same request, in processes of its own."""
