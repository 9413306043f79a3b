"""The embedded corpus: sentences spoken by espeak-ng, in synthetic noise."""
