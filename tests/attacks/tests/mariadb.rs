//! All attacks on MariaDB.

kvolt_attacks::attacks!(kvolt_attacks::Stage::mariadb());
