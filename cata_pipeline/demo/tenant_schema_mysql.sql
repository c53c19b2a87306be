-- A reference for the neighbour service's tenant tables on MySQL 8 and MariaDB, for the demo and the tests only:
-- production tables belong to that service, and a contract check reads their real columns.

CREATE TABLE items (
    id                 bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    item_code          varchar(255) NOT NULL,
    original_name      varchar(255),
    name               varchar(255),
    description        text,
    category           varchar(255),
    item_type          varchar(64),
    variant_group      varchar(255),
    variant_options    json,
    visible            tinyint(1) NOT NULL DEFAULT 1,
    base_price         decimal(14, 2),
    external_image_url text,
    main_image_url     text,
    created_at         timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    updated_at         timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    UNIQUE KEY items_item_code_key (item_code)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

CREATE TABLE item_modifiers (
    id            bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    item_id       bigint unsigned NOT NULL,
    modifier_code varchar(255) NOT NULL,
    original_name varchar(255),
    name          varchar(255),
    position      int NOT NULL DEFAULT 0,
    visible       tinyint(1) NOT NULL DEFAULT 1,
    created_at    timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    updated_at    timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    UNIQUE KEY item_modifiers_code_key (item_id, modifier_code),
    FOREIGN KEY (item_id) REFERENCES items (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

CREATE TABLE item_modifier_options (
    id               bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    item_modifier_id bigint unsigned NOT NULL,
    option_code      varchar(255) NOT NULL,
    original_name    varchar(255),
    name             varchar(255),
    price            decimal(14, 2),
    position         int NOT NULL DEFAULT 0,
    visible          tinyint(1) NOT NULL DEFAULT 1,
    created_at       timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    updated_at       timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    UNIQUE KEY item_modifier_options_code_key (item_modifier_id, option_code),
    FOREIGN KEY (item_modifier_id) REFERENCES item_modifiers (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- A component is told from its equals by its slot, its code and which of those equals it is (from 1),
-- so that a reordered bundle moves rows instead of renaming them.
CREATE TABLE item_bundle_components (
    id                  bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    item_id             bigint unsigned NOT NULL,
    slot                varchar(255) NOT NULL,
    component_item_code varchar(255) NOT NULL,
    occurrence          int NOT NULL,
    original_name       varchar(255),
    name                varchar(255),
    quantity            decimal(14, 4) NOT NULL DEFAULT 1,
    position            int NOT NULL DEFAULT 0,
    visible             tinyint(1) NOT NULL DEFAULT 1,
    created_at          timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    updated_at          timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    UNIQUE KEY item_bundle_components_key (item_id, slot, component_item_code, occurrence),
    FOREIGN KEY (item_id) REFERENCES items (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- Cata's own: what customers see and pay. The pipeline never touches it.
CREATE TABLE menu_items (
    id      bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    item_id bigint unsigned NOT NULL,
    price   decimal(14, 2) NOT NULL,
    FOREIGN KEY (item_id) REFERENCES items (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
