#!/bin/sh
# RaPP's published network on one GPU: hidden rows, hidden models and families; the same without measured features.
# OUT: the folder for rapp-gnn.json; RAPP_DATA: the public data; SECONDS_EACH: of all trainings.
set -u
: "${OUT:?name the folder for results}" "${RAPP_DATA:?name the folder of the public data}"
PYTHON=${PYTHON:-python3}
share() { echo $((SECONDS_EACH * $1 / 100)); }
train() { # captured steps; plain ones where the driver refuses
    $PYTHON -m benchmarks.rapp_train --data "$RAPP_DATA" --out "$OUT" --quiet ${RAPP_OPTIONS:-} "$@" ||
        $PYTHON -m benchmarks.rapp_train --data "$RAPP_DATA" --out "$OUT" --quiet --plain ${RAPP_OPTIONS:-} "$@"
}
regular="--dropout 0.1 --decay 0.3 --validate-every 1000"
train --split random --seconds "$(share 28)"
train --split model --seconds "$(share 16)" --validate-every 1000
train --split model --label model-regularised --seconds "$(share 16)" $regular
train --split family --seconds "$(share 12)" $regular
train --split model --label model-static --static --seconds "$(share 8)" $regular
train --split family --label family-static --static --seconds "$(share 8)" $regular
