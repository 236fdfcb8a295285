#!/usr/bin/env bash
# Embed images with TensorFlow Serving, by curl; prints the JSON of the answer.
# One request: at most max_batch_size images (batching.config).
#
#     deploy/clients/client.sh photo.jpg logo.png >vectors.json
#     SERVER=127.0.0.1:9000 MODEL_NAME=encoder deploy/clients/client.sh photo.jpg
set -euo pipefail

server=${SERVER:-127.0.0.1:8501}
model=${MODEL_NAME:-encoder}

fail() {
    echo "error: $1" >&2
    exit 1
}

[ $# -gt 0 ] || fail "name one image or more: client.sh photo.jpg"
for image; do
    [ -f "$image" ] && [ -r "$image" ] || fail "$image cannot be read"
done

request() {
    local separator=""
    printf '{"signature_name": "serve_bytes", "inputs": {"image_bytes": ['
    for image; do
        printf '%s{"b64": "' "$separator"
        base64 <"$image" | tr -d '\n'
        printf '"}'
        separator=", "
    done
    printf ']}}'
}

# Without the empty "Expect:" curl asks first whether it may send a large body.
# The status follows the answer, in a line of its own. If there is no answer,
# curl says why.
answer=$(request "$@" | curl --silent --show-error --max-time 60 \
    --header "Content-Type: application/json" --header "Expect:" \
    --data-binary @- --write-out '\n%{http_code}' \
    "http://$server/v1/models/$model:predict") || exit 1

status=${answer##*$'\n'}
answer=${answer%$'\n'*}
if [ "$status" != 200 ]; then
    # One line, without names of nodes.
    answer=$(tr -s '[:space:]' ' ' <<<"$answer" |
        sed -E 's/(\\n|\\t| )*\[\[\{\{[^]]*\]\]//g; s/\\n/ /g; s/ +$//')
    fail "$server: $status: $answer"
fi
printf '%s\n' "$answer"
