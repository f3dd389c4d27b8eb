"""The parts of the encryption floor."""

from collections.abc import Callable

from ranvier.encryption.cross_signing import CrossSigning
from ranvier.encryption.device_lists import DeviceLists
from ranvier.encryption.key_backups import KeyBackups
from ranvier.encryption.keys import Keys
from ranvier.encryption.keys_for_peers import KeysForPeers
from ranvier.encryption.remote_keys import RemoteKeys
from ranvier.encryption.remote_lists import RemoteLists
from ranvier.encryption.to_device import ToDevice
from ranvier.main.parts import Parts
from ranvier.remote.client import FederationClient
from ranvier.store.database import Database
from ranvier.store.writer import Writer


def add_encryption(
    server_name: str,
    database: Database,
    writer: Writer,
    parts: Parts,
    now: Callable[[], int],
    *,
    tells_device_names: bool,
) -> None:
    """Build them; `tells_device_names` to other servers."""
    client = parts.get(FederationClient)
    lists = parts.add(RemoteLists(server_name, database, writer, client, now))
    remote = RemoteKeys(server_name, database, client, lists)
    keys = parts.add(Keys(database, writer, remote, server_name, now))
    parts.add(KeysForPeers(server_name, database, keys, tells_names=tells_device_names))
    parts.add(CrossSigning(database, writer))
    parts.add(KeyBackups(database, writer))
    parts.add(ToDevice(writer, server_name, now))
    parts.add(DeviceLists(database))
