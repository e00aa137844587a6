"""Answers to a list of prompts, written here by models or found in the data, to be compared by people."""
