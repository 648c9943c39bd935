"""Molecules with bonded priors in other engines: the same energy and forces there."""

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from beadsmith.batch import build_batch
from beadsmith.energy import predict
from beadsmith.export.openmm import build_openmm_system
from beadsmith.force_field import ForceField, ForceFieldRecord
from beadsmith.neighbors import find_pairs
from beadsmith.priors.fit import fit_prior
from beadsmith.priors.settings import PriorSettings
from example_chains import make_chains


@pytest.mark.parametrize("n_beads", [4, 6])
def test_openmm_has_the_forces_of_bonded_terms(n_beads):
    chains = make_chains(300, n_beads)
    record = ForceFieldRecord(templates=(chains.topology,), state_points=(chains.state_point,))
    force_field = ForceField(fit_prior((chains,), PriorSettings()).terms, None, record)
    system, _ = build_openmm_system(force_field, chains.select(slice(0, 1)), precision="float64")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    for frame in range(5):
        context.setPositions(chains.positions[frame].astype(float) * unit.nanometer)
        state = context.getState(getForces=True, getEnergy=True)
        batch = build_batch(chains, np.array([frame]), dtype=torch.float64)
        expected = predict(force_field, batch, find_pairs(batch, 1.0))
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
        assert energy == pytest.approx(expected.energy.item(), rel=1e-9)
        np.testing.assert_allclose(forces, expected.forces.numpy(), rtol=1e-9, atol=1e-7)
