"""Backbone weights trained elsewhere, as initialisation: torchvision or Barlow Twins ResNet, Swin's own releases.

- torchvision ResNet (``conv1``, ``layer1`` .. ``layer4``, ``fc``): https://github.com/pytorch/vision
- Barlow Twins, the paper's encoder (Sec. 7.3): ``resnet50.pth`` or its training checkpoint,
  https://github.com/facebookresearch/barlowtwins
- Swin Transformer: https://github.com/microsoft/Swin-Transformer; the output norms are not in these files.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from m2a_core.errors import CheckpointError
from m2a_core.model.checkpoints import official
from m2a_core.model.checkpoints.names import NameMap, Rule

TORCHVISION_RESNET = NameMap(
    "a torchvision or Barlow Twins ResNet",
    (
        Rule(r"backbone\.stem\.conv\.(.+)", r"conv1.\1"),
        Rule(r"backbone\.stem\.norm\.(.+)", r"bn1.\1"),
        *(
            rule
            for stage in range(1, 5)
            for ours, theirs in ((rf"backbone\.res{stage + 1}\.(\d+)\.", rf"layer{stage}.\1."),)
            for rule in (
                Rule(ours + r"shortcut\.conv\.(.+)", theirs + r"downsample.0.\2"),
                Rule(ours + r"shortcut\.norm\.(.+)", theirs + r"downsample.1.\2"),
                Rule(ours + r"norm(\d)\.(.+)", theirs + r"bn\2.\3"),
                Rule(ours + r"(conv\d\..+)", theirs + r"\2"),
            )
        ),
    ),
    (
        r"fc\.(weight|bias)",
        r"(module\.)?projector\..+",
        r"(module\.)?bn\.(running_mean|running_var|num_batches_tracked)",
    ),
)
"""Unused: the classifier, and the projector and loss that Barlow Twins keeps beside the encoder."""

SWIN = NameMap(
    "a Swin Transformer",
    tuple(
        Rule(rule.ours, rule.theirs.removeprefix("backbone."))
        for rule in official.SWIN
        if isinstance(rule.theirs, str) and "output_norms" not in rule.ours
    ),
    (r"(head|norm)\.(weight|bias)", r".*\.(relative_position_index|attn_mask)"),
)
_WRAPPERS = ("module.backbone.", "backbone.", "module.", "model.")


def backbone_names(state: Mapping[str, torch.Tensor], path: str) -> tuple[dict[str, torch.Tensor], NameMap]:
    """Recognise a backbone file.

    Args:
        state: its tensors.
        path: the file, for messages.

    Returns:
        The backbone's tensors without wrapping prefixes, and their map.

    Raises:
        CheckpointError: neither a ResNet nor a Swin Transformer.
    """
    wrapper = next((w for w in _WRAPPERS if any(name.startswith(w) for name in state)), "")
    tensors = {name.removeprefix(wrapper): tensor for name, tensor in state.items()}
    if "conv1.weight" in tensors:
        return tensors, TORCHVISION_RESNET
    if "patch_embed.proj.weight" in tensors:
        return tensors, SWIN
    raise CheckpointError(
        f"{path}: expected a torchvision or Barlow Twins ResNet (conv1.weight) or a Swin Transformer "
        f"(patch_embed.proj.weight), got tensors such as {', '.join(list(state)[:3]) or 'none'}"
    )
