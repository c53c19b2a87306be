"""The menu of the coffee shop Kopi Kita.

Add a drink or a dish here. How rows are made of it is decided in `cata_pipeline.demo.kitchen`.
"""

from cata_pipeline.demo.kitchen import Card, Dish, Recipe, Section, SetMeal, Variant, compose, product_id
from cata_pipeline.demo.products import Cases

TENANT_ID = "kopi-kita"

_SIZE_AND_TEMPERATURE = (
    Variant("R-HOT", (("Size", "Regular"), ("Temp", "Hot"))),
    Variant("L-HOT", (("Size", "Large"), ("Temp", "Hot")), 5000),
    Variant("R-ICE", (("Size", "Regular"), ("Temp", "Ice")), 2000, "glass"),
    Variant("L-ICE", (("Size", "Large"), ("Temp", "Ice")), 7000, "glass"),
)
_TEMPERATURE = (
    Variant("HOT", (("Temp", "Hot"),)),
    Variant("ICE", (("Temp", "Ice"),), 2000, "glass"),
)
_METHOD = (
    Variant("V60", (("Seduh", "V60"),)),
    Variant("AERO", (("Seduh", "AeroPress"),)),
    Variant("JPN", (("Seduh", "Japanese Ice"),), 3000, "glass"),
)
_WEIGHT = (
    Variant("200", (("Berat", "200 g"),)),
    Variant("500", (("Berat", "500 g"),), 95000),
)

_GROUPS = {
    "Gula": (("Normal Sugar", 0), ("Less Sugar", 0), ("Half Sugar", 0), ("No Sugar", 0)),
    "Susu": (("Susu Segar", 0), ("Oat Milk", 10000), ("Almond Milk", 12000), ("Susu Kedelai", 7000)),
    "Tambahan": (("Extra Shot", 6000), ("Jelly Kopi", 5000), ("Boba", 6000), ("Es Krim Vanila", 9000)),
    "Penyajian": (("Dihangatkan", 0), ("Dibungkus", 1000)),
}

_MILK_COFFEE = (
    Dish("KS", "Kopi Susu", 18000, "susu", "Espresso robusta Temanggung dengan susu segar dan gula."),
    Dish("KSA", "Kopi Susu Gula Aren", 22000, "susu", "Kopi susu dengan gula aren cair dari Lebak, Banten."),
    Dish("KSP", "Kopi Susu Pandan", 23000, "pandan", "Kopi susu dengan sirup pandan buatan sendiri."),
    Dish("KSK", "Kopi Susu Kelapa", 24000, "kelapa", "Espresso, santan ringan dan gula kelapa."),
    Dish("LAT", "Caffè Latte", 28000, "susu", "Espresso ganda dengan susu yang dikukus lembut."),
    Dish("CAP", "Cappuccino", 28000, "susu", "Espresso, susu panas dan busa tebal, ditabur cokelat."),
    Dish("MOC", "Mocha", 32000, "cokelat", "Espresso dan cokelat Jembrana 70 % dengan susu."),
    Dish("CRM", "Caramel Macchiato", 34000, "keju", "Susu vanila, espresso dan saus karamel asin."),
    Dish("VAN", "Vanilla Latte", 31000, "krim", "Latte dengan sirup vanila asli."),
    Dish("HZL", "Hazelnut Latte", 31000, "susu", "Latte dengan sirup kacang hazelnut panggang."),
)
_BLACK_COFFEE = (
    Dish("AME", "Americano", 22000, "kopi", "Espresso ganda dengan air."),
    Dish("LBK", "Long Black", 23000, "kopi", "Espresso dituang di atas air, krema tetap utuh."),
    Dish("LMN", "Kopi Lemon", 25000, "jeruk", "Americano dengan perasan lemon lokal dan madu."),
    Dish("KTN", "Kopi Tonik", 27000, "kopi", "Espresso di atas air tonik dan kulit jeruk."),
)
_SHORT_COFFEE = (
    Dish("ESP", "Espresso", 16000, "kopi", "Satu sloki, 30 ml."),
    Dish("DOP", "Doppio", 20000, "kopi", "Dua sloki, 60 ml."),
    Dish("PIC", "Piccolo", 24000, "susu", "Ristretto dengan sedikit susu, 90 ml."),
    Dish("TUB", "Kopi Tubruk", 14000, "kopi", "Bubuk kasar diseduh langsung, manis atau pahit."),
    Dish("JOS", "Kopi Joss", 16000, "kopi", "Kopi tubruk dengan arang membara, ala Yogyakarta."),
    Dish("AFF", "Affogato", 29000, "krim", "Es krim vanila disiram espresso panas."),
    Dish("CBL", "Crème Brûlée Latte ☕", 36000, "krim", "Latte vanila dengan gula bakar yang renyah."),
)
_BEANS = (
    Dish("GAY", "Aceh Gayo", 32000, "kopi", "Full wash, catatan rempah dan cokelat."),
    Dish("TOR", "Toraja Sapan", 34000, "kopi", "Wet hulled, catatan kayu manis dan gula merah."),
    Dish("KIN", "Kintamani Bali", 33000, "kopi", "Natural, catatan jeruk dan bunga."),
    Dish("FLO", "Flores Bajawa", 33000, "kopi", "Honey, catatan kacang dan karamel."),
    Dish("PRE", "Preanger Jawa Barat", 32000, "kopi", "Full wash, catatan melati dan teh hitam."),
    Dish("WAM", "Papua Wamena", 36000, "kopi", "Full wash, catatan buah kering dan tembakau manis."),
)
_TEA = (
    Dish("TMN", "Teh Melati", 12000, "teh", "Teh melati Slawi, wangi dan sepat."),
    Dish("TTR", "Teh Tarik", 18000, "susu", "Teh hitam dan susu kental, ditarik sampai berbusa."),
    Dish("TLC", "Teh Leci", 22000, "stroberi", "Teh hitam dengan buah leci."),
    Dish("TLM", "Teh Lemon Serai", 20000, "jeruk", "Teh hijau, serai dan lemon."),
    Dish("TRS", "Teh Rosela", 19000, "stroberi", "Bunga rosela kering, asam segar, tanpa kafein."),
    Dish("EGY", "Earl Grey", 21000, "teh", "Teh hitam dengan bergamot."),
)
_NO_COFFEE = (
    Dish("MTC", "Matcha Latte", 32000, "matcha", "Matcha Uji dengan susu segar."),
    Dish("CKL", "Cokelat Klasik", 29000, "cokelat", "Cokelat Jembrana dilelehkan dalam susu."),
    Dish("TRO", "Taro Latte", 28000, "taro", "Talas ungu Bogor dengan susu."),
    Dish("RDV", "Red Velvet Latte", 30000, "stroberi", "Cokelat merah dengan krim keju."),
    Dish("WJH", "Wedang Jahe", 16000, "teh", "Jahe bakar, gula jawa dan serai."),
    Dish("KLP", "Klepon Latte", 31000, "pandan", "Susu pandan, gula aren dan kelapa parut."),
)
_PASTRY = (
    Dish("CRO", "Croissant Mentega", 22000, "roti", "Tiga hari dilipat, mentega Prancis."),
    Dish("CRA", "Croissant Almond", 28000, "roti", "Isi krim almond, tabur almond iris."),
    Dish("PCK", "Pain au Chocolat", 27000, "cokelat", "Dua batang cokelat hitam di dalam."),
    Dish("CIN", "Cinnamon Roll", 25000, "roti", "Kayu manis Kerinci dan glasir krim keju."),
    Dish("BNB", "Banana Bread", 20000, "roti", "Pisang ambon matang dan kenari."),
    Dish("BRW", "Brownies Panggang", 21000, "cokelat", "Pinggir garing, tengah lembut."),
    Dish("CCK", "Cheesecake Basque", 36000, "keju", "Dipanggang gosong, tengah lumer."),
    Dish("TRM", "Tiramisu", 38000, "krim", "Mascarpone dan espresso rumah."),
    Dish("DKT", "Donat Kentang Gula", 10000, "roti", "Donat kentang dengan gula halus."),
    Dish("DKC", "Donat Cokelat Meses", 12000, "cokelat", "Donat kentang, mentega dan meses."),
    Dish("LMP", "Lumpur Surga", 11000, "pandan", "Kue lumpur pandan dengan santan."),
    Dish("NST", "Nastar (6 biji)", 24000, "keju", "Selai nanas buatan sendiri."),
    Dish("KCK", "Cookies Cokelat Garam Laut", 18000, "cokelat", "Garam Amed di atasnya."),
    Dish("MFB", "Muffin Blueberry", 23000, "taro", "Blueberry utuh dan crumble."),
    Dish("SCN", "Scone Keju Cheddar", 22000, "keju", "Disajikan hangat dengan mentega."),
)
_FOOD = (
    Dish("RBK", "Roti Bakar Keju Cokelat", 24000, "roti", "Roti kasino bakar, keju dan meses."),
    Dish("RSK", "Roti Srikaya", 19000, "pandan", "Selai srikaya pandan dan mentega dingin."),
    Dish("TLS", "Telur Setengah Matang", 14000, "krim", "Dua butir, kecap asin dan lada putih."),
    Dish("NGK", "Nasi Goreng Kampung", 35000, "goreng", "Terasi, teri Medan dan telur mata sapi."),
    Dish("MGJ", "Mie Goreng Jawa", 34000, "mie", "Mie telur, kol, ayam suwir dan kecap."),
    Dish("NAG", "Nasi Ayam Geprek", 36000, "sambal", "Ayam krispi dengan sambal bawang."),
    Dish("SPA", "Spaghetti Aglio Olio Teri", 38000, "mie", "Bawang putih, cabai dan teri Medan."),
    Dish("CLB", "Club Sandwich", 42000, "roti", "Ayam, telur, daging asap dan kentang."),
    Dish("KTG", "Kentang Goreng Truffle", 29000, "goreng", "Minyak truffle dan parmesan."),
    Dish("PSG", "Pisang Goreng Madu", 19000, "goreng", "Pisang kepok, madu dan wijen."),
    Dish("TMD", "Tempe Mendoan", 17000, "goreng", "Lima lembar, kecap cabai rawit."),
    Dish("CRG", "Cireng Bumbu Rujak", 17000, "goreng", "Aci goreng dengan saus rujak."),
)
_BOTTLES = (
    Dish("BKS", "Kopi Susu Botol 1 Liter", 85000, "susu", "Tahan tiga hari di lemari es."),
    Dish("BGA", "Kopi Gula Aren Botol 1 Liter", 92000, "susu", "Tahan tiga hari di lemari es."),
    Dish("BCB", "Cold Brew Botol 250 ml", 32000, "kopi", "Diseduh dingin 18 jam."),
    Dish("BMT", "Matcha Botol 250 ml", 34000, "matcha", "Kocok sebelum diminum."),
    Dish("AIR", "Air Mineral 600 ml", 8000, "kelapa", "Dingin atau suhu ruang."),
)

KOPI_KITA = compose(
    Card(
        tenant_id=TENANT_ID,
        store_name="Kopi Kita Cikini",
        address="Jl. Cikini Raya 41, Jakarta Pusat",
        groups=_GROUPS,
        sections=(
            Section(
                "Kopi Susu", "cup", _MILK_COFFEE, _SIZE_AND_TEMPERATURE, ("Gula", "Susu", "Tambahan"), ("favorit",)
            ),
            Section("Kopi Hitam", "cup", _BLACK_COFFEE, _TEMPERATURE, ("Gula", "Tambahan")),
            Section("Espresso Bar", "cup", _SHORT_COFFEE, groups=("Gula",), tags=("espresso",)),
            Section("Manual Brew", "cup", _BEANS, _METHOD, tags=("single origin",)),
            Section("Teh", "cup", _TEA, _TEMPERATURE, ("Gula",)),
            Section("Non Kopi", "cup", _NO_COFFEE, _TEMPERATURE, ("Gula", "Susu"), ("tanpa kopi",)),
            Section("Roti & Kue", "board", _PASTRY, groups=("Penyajian",), tracked=True),
            Section("Makanan", "plate", _FOOD, tags=("dapur",)),
            Section("Botol", "glass", _BOTTLES, tags=("bawa pulang",), tracked=True),
            Section(
                "Biji Kopi",
                "bag",
                tuple(
                    Dish(f"BJ-{bean.code}", f"Biji {bean.name}", 98000, bean.palette, bean.description)
                    for bean in _BEANS
                ),
                _WEIGHT,
                tags=("bawa pulang",),
                tracked=True,
            ),
        ),
        sets=(
            SetMeal(
                Dish("DUO", "Paket Duo Kopi Susu", 34000, "susu", "Dua kopi susu dingin, boleh sama."),
                "glass",
                (
                    ("Minuman", "KS-L-ICE", 1),
                    ("Minuman", "KS-L-ICE", 1),
                    ("Minuman", "KSA-L-ICE", 1),
                    ("Camilan", "DKT", 2),
                ),
            ),
            SetMeal(
                Dish("PSR", "Paket Sarapan", 45000, "roti", "Satu kopi, satu roti, satu telur."),
                "plate",
                (
                    ("Minuman", "AME-HOT", 1),
                    ("Minuman", "TTR-HOT", 1),
                    ("Roti", "RSK", 1),
                    ("Roti", "CRO", 1),
                    ("Telur", "TLS", 1),
                ),
            ),
        ),
        recipes=(
            Recipe(
                Dish("ESK", "Es Kopi Durian", 33000, "krim", "Kopi susu dingin dengan daging durian Medan."),
                "Non Kopi",
                "glass",
                (
                    ("Biji Robusta Temanggung", "RM-ROB", 0.018),
                    ("Susu Segar", "RM-SUSU", 0.2),
                    ("Durian", "RM-DUR", 0.08),
                ),
            ),
        ),
        cases=Cases(
            empty_sku_product_id=product_id(TENANT_ID, "AIR"),
            duplicate_sku="BRW",
            no_picture="DOP",
            broken_picture="CRG",
            missing_picture="TMD",
            shared_picture=("RBK", "RSK"),
            inactive="LMP",
            accented="CBL",
            wrong_inner_group="VAN-L-HOT",
            variant_family=("KS-R-HOT", "KS-L-HOT", "KS-R-ICE", "KS-L-ICE"),
            comboset="DUO",
            composite="ESK",
            to_rename_by_merchant="NGK",
            to_rename_by_pos="CIN",
            renamed_by_both="CLB",
            to_photo_by_merchant="CCK",
            to_photo_by_pos="MGJ",
            to_price_by_merchant="AFF",
            to_deactivate="PSG",
            to_remove="SPA",
        ),
    )
)
