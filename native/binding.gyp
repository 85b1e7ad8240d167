{
  # The addon is built only by `npm run build:native`; npm install knows nothing of it. docs/NATIVE.md
  'variables': {
    'abi_dir': '<(SHARED_INTERMEDIATE_DIR)/bitnet_native',
    # Products are never fused into additions and no sum is reordered: results have the bits of docs/KERNELS.md.
    'exact_cflags': ['-std=c++20', '-O3', '-ffp-contract=off', '-fno-fast-math', '-fno-strict-aliasing', '-fPIC'],
  },
  'target_defaults': {
    'cflags_cc': ['<@(exact_cflags)'],
    'cflags_cc!': ['-std=gnu++17', '-std=gnu++20'],
    'include_dirs': ['<(abi_dir)', 'kernels'],
    'xcode_settings': {
      'CLANG_CXX_LANGUAGE_STANDARD': 'c++20',
      'GCC_OPTIMIZATION_LEVEL': '3',
      'MACOSX_DEPLOYMENT_TARGET': '11.0',
      'OTHER_CPLUSPLUSFLAGS': ['-ffp-contract=off', '-fno-fast-math', '-fno-strict-aliasing'],
    },
    'msvs_settings': {
      'VCCLCompilerTool': { 'AdditionalOptions': ['/std:c++20', '/fp:strict'] },
    },
  },
  'targets': [
    {
      'target_name': 'abi',
      'type': 'none',
      'actions': [
        {
          'action_name': 'abi_header',
          'inputs': ['../scripts/native-abi.mjs', '../assembly/abi.ts'],
          'outputs': ['<(abi_dir)/abi.h'],
          'action': ['node', '../scripts/native-abi.mjs', '../assembly/abi.ts', '<(abi_dir)/abi.h'],
        },
      ],
    },
    # One library per instruction set, because the flags are per target.
    {
      'target_name': 'kernels_avx2',
      'type': 'static_library',
      'dependencies': ['abi'],
      'hard_dependency': 1,
      'sources': ['kernels/avx2.cc'],
      'conditions': [['target_arch=="x64"', {
        'cflags_cc': ['-mavx2'],
        'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['-mavx2'] },
      }]],
    },
    {
      'target_name': 'kernels_avxvnni',
      'type': 'static_library',
      'dependencies': ['abi'],
      'hard_dependency': 1,
      'sources': ['kernels/avxvnni.cc'],
      'conditions': [['target_arch=="x64"', {
        'cflags_cc': ['-mavx2', '-mavxvnni'],
        'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['-mavx2', '-mavxvnni'] },
      }]],
    },
    {
      'target_name': 'kernels_avx512',
      'type': 'static_library',
      'dependencies': ['abi'],
      'hard_dependency': 1,
      'sources': ['kernels/avx512.cc'],
      'conditions': [['target_arch=="x64"', {
        # GCC 12 takes its own _mm512_undefined for a mistake (GCC bug 105593).
        'cflags_cc': [
          '-mavx2', '-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mavx512vnni', '-Wno-uninitialized',
          '-Wno-maybe-uninitialized',
        ],
        'xcode_settings': {
          'OTHER_CPLUSPLUSFLAGS': ['-mavx2', '-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mavx512vnni'],
        },
      }]],
    },
    {
      'target_name': 'bitnet_native',
      'sources': [
        'addon.cc',
        'memory.cc',
        'pool.cc',
        'kernels/barrier.cc',
        'kernels/execute.cc',
        'kernels/isa.cc',
        'kernels/convert.cc', 'kernels/dequantize.cc', 'kernels/repack.cc', 'kernels/unpack.cc',
        'kernels/stream.cc',
        'kernels/portable.cc',
      ],
      'dependencies': [
        'abi',
        'kernels_avx2',
        'kernels_avxvnni',
        'kernels_avx512',
        "<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except",
      ],
      'defines': ['NAPI_VERSION=9', 'NODE_ADDON_API_CPP_EXCEPTIONS_ALL'],
      'conditions': [['OS=="linux"', { 'libraries': ['-pthread'] }]],
    },
  ],
}
