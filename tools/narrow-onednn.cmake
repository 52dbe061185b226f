# Build settings of oneDNN that the onednn-src crate has no feature for. CTranslate2 (src/cpu/primitives.cc,
# src/ops/conv1d_cpu.cc) uses the matrix products, which are always built, and convolution with reorder.
# No CMAKE_SYSTEM_NAME is set here, so this is no cross build; other CMake projects ignore these variables.
set(ONEDNN_ENABLE_PRIMITIVE "CONVOLUTION;REORDER" CACHE STRING "primitives to build")
set(ONEDNN_ENABLE_PRIMITIVE_CPU_ISA "AVX512" CACHE STRING "newest instruction set of those primitives")
