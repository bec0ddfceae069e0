{
  description = "FlareDB: a key-value store with compare-and-swap and pluggable engines";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ];
      perSystem = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      # What ./dev needs. RocksDB's bindings want libclang, which the hook finds.
      devShells = perSystem (pkgs: {
        default = pkgs.mkShell {
          nativeBuildInputs = [
            pkgs.cargo
            pkgs.rustc
            pkgs.clippy
            pkgs.rustfmt
            pkgs.ccache
            pkgs.rustPlatform.bindgenHook
          ];
        };
      });
    };
}
