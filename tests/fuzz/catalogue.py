"""All fuzz targets."""

from tests.fuzz.peer_targets import PEER_TARGETS
from tests.fuzz.protocol_targets import PROTOCOL_TARGETS
from tests.fuzz.server_targets import SERVER_TARGETS

TARGETS = (*PROTOCOL_TARGETS, *SERVER_TARGETS, *PEER_TARGETS)
BY_NAME = {target.name: target for target in TARGETS}
