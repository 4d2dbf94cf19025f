//! Every attack on MariaDB.

kvolt_security::attacks!(kvolt_security::Stage::mariadb());
