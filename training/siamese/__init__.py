"""Retraining of the encoder: data, Siamese objectives, judgement, and the run that ties them together."""
