#!/bin/sh
# RaPP's published network on one GPU: hidden rows, then hidden models twice, then hidden families.
# OUT: the folder for rapp-gnn.json; RAPP_DATA: the public data; SECONDS_EACH: of all trainings.
set -u
: "${OUT:?name the folder for results}" "${RAPP_DATA:?name the folder of the public data}"
PYTHON=${PYTHON:-python3}
share() { echo $((SECONDS_EACH * $1 / 100)); }
train() { # captured steps; plain ones where the driver refuses
    $PYTHON -m benchmarks.rapp_train --data "$RAPP_DATA" --out "$OUT" --quiet ${RAPP_OPTIONS:-} "$@" ||
        $PYTHON -m benchmarks.rapp_train --data "$RAPP_DATA" --out "$OUT" --quiet --plain ${RAPP_OPTIONS:-} "$@"
}
train --split random --seconds "$(share 33)"
train --split model --seconds "$(share 20)" --validate-every 1000
train --split model --label model-regularised --dropout 0.1 --decay 0.3 --seconds "$(share 20)" \
    --validate-every 1000
train --split family --dropout 0.1 --decay 0.3 --seconds "$(share 16)" --validate-every 1000
