"""Ask every OpenMM platform for an energy that is known in closed form."""

import openmm

_CHARGE, _DISTANCE = 1.0, 0.5
_EXPECTED = -138.935456 * _CHARGE**2 / _DISTANCE
"""Two opposite charges in vacuum [kJ/mol]."""


def check_platforms() -> dict[str, str]:
    """Return a verdict for each platform that OpenMM knows here: ``works``, or what is wrong."""
    names = [openmm.Platform.getPlatform(index).getName() for index in range(openmm.Platform.getNumPlatforms())]
    return {name: _check_platform(name) for name in names}


def _check_platform(name: str) -> str:
    system, force = openmm.System(), openmm.NonbondedForce()
    for sign in (1.0, -1.0):
        system.addParticle(1.0)
        force.addParticle(sign * _CHARGE, 0.1, 0.0)
    system.addForce(force)
    try:
        platform = openmm.Platform.getPlatformByName(name)
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
        context.setPositions([(0.0, 0.0, 0.0), (_DISTANCE, 0.0, 0.0)])
        energy = context.getState(energy=True).getPotentialEnergy()._value
    except openmm.OpenMMException as error:
        return f"cannot be used ({str(error).splitlines()[0]})"
    return "works" if abs(energy / _EXPECTED - 1.0) < 1e-4 else f"gives {energy:.6g} kJ/mol, expected {_EXPECTED:.6g}"
