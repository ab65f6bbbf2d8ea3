# nix-build packaging/nix: croci and corm from this checkout.
{ pkgs ? import <nixpkgs> { } }:
pkgs.pkgsStatic.rustPlatform.buildRustPackage {
  pname = "croci";
  version = "0.1.0";
  src = pkgs.lib.cleanSource ../..;
  cargoLock.lockFile = ../../Cargo.lock;
  # the entry point and the options of .cargo/config.toml are those of the GNU target
  postPatch = "rm -f .cargo/config.toml";
  cargoBuildFlags = [ "--bin" "croci" "--bin" "corm" ];
  doCheck = false; # the tests need root and cgroups
  meta = {
    description = "OCI container runtime and image builder";
    license = pkgs.lib.licenses.asl20;
    platforms = pkgs.lib.platforms.linux;
    mainProgram = "croci";
  };
}
