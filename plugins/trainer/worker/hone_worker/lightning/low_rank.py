"""LoRA's update in place: what PEFT computes, without the copies of each linear map's output that its formula makes.

PEFT writes ``result + B(A(x)) · scale``, three more passes over arrays as wide as the output, and under half
precision casts the input. Here the product is added into ``result`` by the matrix product itself.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import LoraLayer, LoraVariant


class InPlace(LoraVariant):
    """PEFT's hook for other formulas of the forward pass."""

    @staticmethod
    def forward(
        module: LoraLayer, active_adapter: str, x: torch.Tensor, result: torch.Tensor, **_: Any
    ) -> torch.Tensor:
        """``result`` plus the update of x."""
        a, b = module.lora_A[active_adapter].weight, module.lora_B[active_adapter].weight
        dropped = module.lora_dropout[active_adapter](x)
        return _Update.apply(dropped, result, a, b, module.scaling[active_adapter])


class _Update(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, result: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        inner = rows @ a.to(x.dtype).t()
        result.view(-1, result.shape[-1]).addmm_(inner, b.to(x.dtype).t(), alpha=scale)
        ctx.save_for_backward(rows, inner, a, b)
        ctx.scale, ctx.shape = scale, x.shape
        ctx.mark_dirty(result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, Any, Any, None]:
        rows, inner, a, b = ctx.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1])
        of_inner = (flat @ b.to(grad.dtype)).mul_(ctx.scale)
        of_x = (of_inner @ a.to(grad.dtype)).view(ctx.shape) if ctx.needs_input_grad[0] else None
        of_a = (of_inner.t() @ rows).to(a.dtype) if ctx.needs_input_grad[2] else None
        of_b = (flat.t() @ inner).to(b.dtype).mul_(ctx.scale) if ctx.needs_input_grad[3] else None
        return of_x, grad if ctx.needs_input_grad[1] else None, of_a, of_b, None
