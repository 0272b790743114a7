// As tile-errors.mlir, of queues.
// RUN: lathe-opt %s --split-input-file --verify-diagnostics

tile.kernel @slots attributes {arg_names = ["q"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
// expected-error @+1 {{a queue needs at least one slot, got 0}}
^bb0(%q: !tile.queue<0, 4>):
  tile.return
}

// -----

tile.kernel @words attributes {arg_names = ["q"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
// expected-error @+1 {{a queue's entries have 1, 2 or 4 words, got 3}}
^bb0(%q: !tile.queue<4, 3>):
  tile.return
}

// -----

tile.kernel @offset attributes {arg_names = [], threads = 128 : i32, shared_bytes = 512 : i32, max_registers = 0 : i32} {
  // expected-error @+1 {{offset must be a multiple of an entry's 16 bytes, got 8}}
  %q = tile.queue at 8 barriers 128 readers 1 : !tile.queue<4, 4>
  tile.return
}

// -----

tile.kernel @barriers attributes {arg_names = [], threads = 128 : i32, shared_bytes = 512 : i32, max_registers = 0 : i32} {
  // expected-error @+1 {{barrier offset must be a multiple of 8 bytes, got 132}}
  %q = tile.queue at 16 barriers 132 readers 1 : !tile.queue<4, 4>
  tile.return
}

// -----

tile.kernel @readers attributes {arg_names = [], threads = 128 : i32, shared_bytes = 512 : i32, max_registers = 0 : i32} {
  // expected-error @+1 {{readers must be positive, got 0}}
  %q = tile.queue at 16 barriers 128 readers 0 : !tile.queue<4, 4>
  tile.return
}

// -----

tile.kernel @push attributes {arg_names = ["q", "n"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%q: !tile.queue<4, 2>, %n: i32):
  // expected-error @+1 {{an entry has 2 words, got 1}}
  tile.push %q[%n], %n : !tile.queue<4, 2>
  tile.return
}

// -----

tile.kernel @pull attributes {arg_names = ["q", "n"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%q: !tile.queue<4, 2>, %n: i32):
  // expected-error @+1 {{an entry has 2 words, got 1}}
  %w = tile.pull %q[%n] : !tile.queue<4, 2> -> i32
  tile.return
}
