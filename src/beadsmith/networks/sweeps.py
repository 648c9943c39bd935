"""Sums over neighbours in plain torch: the readable twins of the fused sweeps in `beadsmith.kernels`.

They run on any device and can be differentiated any number of times.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def environment_sums(
    sensitivities: Float[Tensor, "pairs sensitivities"],
    angular: Float[Tensor, "pairs components"],
    pair_index: Int[Tensor, "2 pairs"],
    types: Int[Tensor, "sites"],
    n_types: int,
) -> Float[Tensor, "sites components types sensitivities"]:
    """Return A[i,m,t,ν] = Σ_j s_ν(r_ij) u_m(n_ij) over the neighbours j of type t.

    The first interaction needs no more than this: its input features are the one-hot types.
    """
    first, second = pair_index
    outer = angular[:, :, None] * sensitivities[:, None, :]
    sums = outer.new_zeros(len(types) * n_types, *outer.shape[1:])
    sums = sums.index_add(0, first * n_types + types[second], outer)
    return sums.unflatten(0, (len(types), n_types)).transpose(1, 2)


def message_sums(
    sensitivities: Float[Tensor, "pairs sensitivities"],
    angular: Float[Tensor, "pairs components"],
    pair_index: Int[Tensor, "2 pairs"],
    projected: Float[Tensor, "sites sensitivities features"],
) -> Float[Tensor, "sites components features"]:
    """Return E[i,m,a] = Σ_j u_m(n_ij) Σ_ν s_ν(r_ij) Q[j,ν,a].

    All tensor ranks share one weight tensor, so the message Σ_ν s_ν Q is formed once a pair, not once a component.
    """
    first, second = pair_index
    messages = torch.einsum("pk,pka->pa", sensitivities, projected.index_select(0, second))
    outer = angular[:, :, None] * messages[:, None, :]
    return outer.new_zeros(len(projected), *outer.shape[1:]).index_add(0, first, outer)
