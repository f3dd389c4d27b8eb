"""What servers tell each other about keys and themselves, over TLS."""

from tests.federated import Federated

from ranvier.protocol import server_keys
from ranvier.remote.key_ring import KeyRing
from ranvier.remote.keys_query import bulk_perspectives_key_query
from ranvier.remote.keys_server import get_server_key
from ranvier.remote.own_keys import OwnKeys
from ranvier.remote.version import get_version


async def test_a_server_tells_its_program_and_its_keys(alpha: Federated, beta: Federated) -> None:
    assert (await get_version(alpha.remote, beta.server_name)).name == "Ranvier"
    document = await get_server_key(alpha.remote, beta.server_name)
    own = beta.part(OwnKeys)
    read = server_keys.parse(document, own.now(), beta.server_name)
    assert {key_id: key.public for key_id, key in read.keys.items()} == {own.signer.key_id: own.signer.public}


async def test_a_key_ring_finds_another_servers_key_once_and_keeps_it(
    alpha: Federated, beta: Federated
) -> None:
    signer = beta.part(OwnKeys).signer
    wanted = [(beta.server_name, signer.key_id, alpha.part(OwnKeys).now())]
    ring = alpha.part(KeyRing)
    for _ in range(2):
        found = await ring.keys(wanted)
        assert found[beta.server_name, signer.key_id].public == signer.public
    assert len(alpha.calls) == 1


async def test_a_server_vouches_for_the_keys_of_another(alpha: Federated, beta: Federated) -> None:
    signer, own = beta.part(OwnKeys).signer, alpha.part(OwnKeys)
    [document] = await bulk_perspectives_key_query(
        beta.remote, alpha.server_name, {beta.server_name: {signer.key_id: own.now()}}
    )
    assert server_keys.is_cosigned(document, alpha.server_name, {own.signer.key_id: own.signer.public})
    assert (
        server_keys.parse(document, own.now(), beta.server_name).keys[signer.key_id].public == signer.public
    )
