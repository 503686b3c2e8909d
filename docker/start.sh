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

if [ "$1" = m2a_node ]; then
    shipped=/opt/venv/share/m2a_ros/engines/m2a-edge
    # A new image may bring a new model: each has a folder of its own.
    digest=$(sha256sum "$shipped/manifest.json")
    bundle="${M2A_DATA:-/var/lib/m2a}/m2a-edge-${digest:0:12}"
    if [ ! -f "$bundle/manifest.json" ]; then
        rm -rf "$bundle.part"
        mkdir -p "$bundle.part"
        cp "$shipped"/* "$bundle.part"
        mv "$bundle.part" "$bundle"
    fi
    # Frames of another camera than the vehicle's will do: they compare the engine with the graph.
    build=(m2a build-engine "$bundle/m2a-edge.onnx" --precision "${M2A_PRECISION:-fp16}"
        --frames /opt/venv/share/m2a_ros/config/demo/frames)
    # One that fits is kept; one that does not (another GPU, TensorRT, precision) is named, refused, and built anew.
    "${build[@]}" || "${build[@]}" --rebuild
    set -- "$@" --ros-args -p "model:=$bundle" -p backend:=tensorrt
fi
exec "$@"
