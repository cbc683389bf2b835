"""The published interface of Cloudburst, for the programs that are written for it: ``cloudburst.client.client``."""
