"""Without the extra ``grpc``, an upstream over gRPC says what to install; everything else goes on."""

import os

import pytest

from edgewise.errors import MissingExtraError
from edgewise.routing.upstreams.oip_grpc import OipGrpcUpstream

pytestmark = pytest.mark.bare


@pytest.mark.skipif(os.environ.get("EDGEWISE_BARE") != "1", reason="for an environment without extras")
def test_without_grpc_it_says_what_to_install() -> None:
    with pytest.raises(MissingExtraError) as raised:
        OipGrpcUpstream("grpc://127.0.0.1:1/m")
    assert "edgewise[grpc]" in raised.value.remedy
