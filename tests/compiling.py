"""How JAX compiles for tests: quickly, for what is compiled is run once."""

QUICKLY = (
    "--xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false"
)
ON_TWO_DEVICES = f"--xla_force_host_platform_device_count=2 {QUICKLY}"
