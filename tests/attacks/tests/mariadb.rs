//! Every attack on MariaDB.

kvolt_attacks::attacks!(kvolt_attacks::Deployment::mariadb());
