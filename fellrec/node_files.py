"""The small text files of a provisioned federation: a node's settings and its start, the server's settings."""

from __future__ import annotations

NODE_ENV = """\
# One node's settings, for start.sh, `fellrec preflight` and systemd. Paths are relative to this file's folder.
{}
FELLREC_ROOT_CERTIFICATE=ca.crt
FELLREC_SPLIT_CERTIFICATE=split.crt
FELLREC_SPLIT_KEY=split.key
FELLREC_SUPERNODE_KEY=supernode.key
"""

START = """\
#!/bin/sh
# Joins the federation with this folder's keys; more arguments go to flower-supernode. After a kill the SuperLink refuses the
# node for up to a minute: `fellrec join` tries it again. FELLREC_ISOLATION=process leaves the ClientApp to a `flower-superexec`
# of its own, which then needs this folder's ca.crt, split.crt and split.key at the same place.
set -eu
cd "$(dirname "$0")"
here=$(pwd)
set -a
. ./node.env
set +a
case "$FELLREC_DATA_PATH" in /*) ;; *) FELLREC_DATA_PATH="$here/$FELLREC_DATA_PATH" ;; esac
exec fellrec join -- --superlink "$FELLREC_SUPERLINK" --root-certificates "$here/$FELLREC_ROOT_CERTIFICATE" \\
    --auth-supernode-private-key "$here/$FELLREC_SUPERNODE_KEY" \\
    --isolation "${FELLREC_ISOLATION:-subprocess}" --host "${FELLREC_RUNTIME_HOST:-127.0.0.1}" \\
    --port "${FELLREC_RUNTIME_PORT:-9094}" \\
    --node-config "client-key=\\"$FELLREC_NODE\\" data-path=\\"$FELLREC_DATA_PATH\\" \\
split-root-certificate=\\"$here/$FELLREC_ROOT_CERTIFICATE\\" split-certificate=\\"$here/$FELLREC_SPLIT_CERTIFICATE\\" \\
split-key=\\"$here/$FELLREC_SPLIT_KEY\\"" "$@"
"""

REGISTER = """\
#!/bin/sh
# Tells the SuperLink which nodes may join: register.sh CONNECTION [NAME...]; without names, all of supernodes/.
# CONNECTION is a name in Flower's config.toml. Run it where the SuperLink's own port is reached, not through the gateway.
set -eu
connection=$1
shift
cd "$(dirname "$0")/supernodes"
[ $# -gt 0 ] || set -- *.pub
for name in "$@"; do
    name=${name%.pub}
    flwr supernode register "$name.pub" "$connection" --name "$name"
done
"""

_RUN = """\
split.host=0.0.0.0
split.port={port}
split.advertise={address}
split.certificate=/etc/fellrec/split/tls.crt
split.key=/etc/fellrec/split/tls.key
split.client-ca=/etc/fellrec/split/ca.crt
"""


def run_settings(split: str) -> str:
    """Settings of every run, a line each, for a split service that nodes reach at ``split`` (``host:port``)."""
    return _RUN.format(port=split.rpartition(":")[2], address=split)
