"""New instruction rows, written by a model from a few examples: Self-Instruct, and Alpaca's one pass. Imports no torch."""
