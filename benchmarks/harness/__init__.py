"""Measures rankforge and sentence-transformers side by side, as whole processes in turns."""
