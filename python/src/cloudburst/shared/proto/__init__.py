"""Names of the published interface's messages: ``cloudburst.shared.proto.cloudburst_pb2``."""
