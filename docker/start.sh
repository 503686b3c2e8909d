#!/bin/bash
# Entry point of the GPU images: ROS's environment, the engine (built at the first start, with progress, and kept in the
# volume; a later start only checks that it still fits graph, plugin, GPU and TensorRT), then the command.
set -eo pipefail
# shellcheck disable=SC1090
source "/opt/ros/${ROS_DISTRO:?}/setup.bash"
export AMENT_PREFIX_PATH="/opt/venv:${AMENT_PREFIX_PATH}"
profile=/opt/venv/share/m2a_ros/config/fastdds_profile.xml
export FASTDDS_DEFAULT_PROFILES_FILE="${FASTDDS_DEFAULT_PROFILES_FILE:-$profile}"
export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$profile}"

# Say why there is no engine, wait longer from time to time, and end: with 78 (EX_CONFIG) where a restart fixes nothing
# (3: no GPU can be used, 5: the engine's results are wrong), else with 75 (EX_TEMPFAIL).
give_up() {
    failures=$(($(cat "$bundle/failures" 2> /dev/null || echo 0) + 1))
    echo "$failures" > "$bundle/failures"
    pause=$((${M2A_BACKOFF:-15} * 2 ** (failures < 7 ? failures - 1 : 6)))
    case "$1" in
        3) why="no GPU can be used; a restart does not fix that" status=78 ;;
        5) why="the engine's results are out of tolerance; another build of the same graph does not fix that" status=78 ;;
        *) why="the engine cannot be built" status=75 ;;
    esac
    echo "m2a_start: $why (see the error above). Failure $failures in a row, ending in $pause s with code $status." >&2
    # Docker stops a container with SIGTERM, which bash heeds only between two commands.
    trap 'exit 143' TERM INT
    sleep "$pause" &
    wait "$!"
    exit "$status"
}

if [ "$1" = m2a_node ]; then
    shipped=/opt/venv/share/m2a_ros/engines/m2a-edge
    # A new image may bring a new model: each has a folder of its own.
    digest=$(sha256sum "$shipped/manifest.json")
    bundle="${M2A_DATA:-/var/lib/m2a}/m2a-edge-${digest:0:12}"
    if [ ! -f "$bundle/manifest.json" ]; then
        # Several containers may share the volume and start at once; and power may fail at any time: a bundle that has its
        # name is whole.
        mkdir -p "${bundle%/*}"
        part=$(mktemp -d "$bundle.XXXXXX")
        cp "$shipped"/* "$part"
        chmod 755 "$part"
        sync "$part"/*
        mv -T "$part" "$bundle" || [ -f "$bundle/manifest.json" ]
        rm -rf "$part"
    fi
    # Frames of another camera than the vehicle's will do: they compare the engine with the graph.
    build=(m2a build-engine "$bundle/m2a-edge.onnx" --precision "${M2A_PRECISION:-fp16}"
        --frames /opt/venv/share/m2a_ros/config/demo/frames)
    # One that fits is kept; one that does not (another GPU, TensorRT, precision, damage) is named, refused (4), and
    # built again.
    code=0
    "${build[@]}" || code=$?
    if [ "$code" = 4 ]; then
        code=0
        "${build[@]}" --rebuild || code=$?
    fi
    if [ "$code" != 0 ]; then
        give_up "$code"
    fi
    rm -f "$bundle/failures"
    set -- "$@" --ros-args -p "model:=$bundle" -p backend:=tensorrt
fi
exec "$@"
