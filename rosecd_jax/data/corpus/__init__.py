"""The embedded corpus: sentences by espeak-ng or of synthetic vowels, in synthetic noise."""
