"""The menu of the bakery and brunch place Roti Pagi.

Add a bread or a dish here. How rows are made of it is decided in `cata_pipeline.demo.kitchen`.
"""

from cata_pipeline.demo.kitchen import Card, Dish, Recipe, Section, SetMeal, Variant, compose, product_id
from cata_pipeline.demo.products import Cases

TENANT_ID = "roti-pagi"

_LOAF = (
    Variant("FULL", (("Ukuran", "Utuh"),)),
    Variant("HALF", (("Ukuran", "Setengah"),), -18000),
)
_CAKE = (
    Variant("SLICE", (("Ukuran", "Potong"),), 0, "plate"),
    Variant("D16", (("Ukuran", "Diameter 16 cm"),), 210000),
    Variant("D22", (("Ukuran", "Diameter 22 cm"),), 345000),
)
_TEMPERATURE = (
    Variant("HOT", (("Suhu", "Panas"),)),
    Variant("ICE", (("Suhu", "Dingin"),), 3000, "glass"),
)
_BOX = (
    Variant("1", (("Isi", "Satuan"),)),
    Variant("6", (("Isi", "Kotak 6"),), 48000),
)

_GROUPS = {
    "Telur": (("Mata Sapi", 0), ("Orak-Arik", 0), ("Poached", 3000), ("Rebus", 0)),
    "Roti Pilihan": (("Sourdough", 0), ("Brioche", 4000), ("Gandum", 0), ("Bebas Gluten", 12000)),
    "Tambahan": (("Alpukat", 15000), ("Salmon Asap", 32000), ("Halloumi", 22000), ("Sosis Sapi", 18000)),
    "Susu": (("Susu Segar", 0), ("Oat Milk", 10000), ("Susu Kedelai", 7000)),
    "Penyajian": (("Diiris", 0), ("Dihangatkan", 0), ("Kotak Hadiah", 8000)),
}

_LOAVES = (
    Dish("SDR", "Sourdough Klasik", 62000, "roti", "Ragi alami 36 jam, kulit tebal."),
    Dish("SDW", "Sourdough Wijen Hitam", 68000, "roti", "Wijen hitam sangrai."),
    Dish("GDM", "Roti Gandum Utuh", 55000, "roti", "Gandum utuh 80 %, biji bunga matahari."),
    Dish("RYE", "Roti Rye Jintan", 64000, "cokelat", "Tepung rye dan biji jintan."),
    Dish("BRI", "Brioche Loaf", 72000, "keju", "Mentega 40 %, telur kampung."),
    Dish("SHK", "Shokupan Susu", 58000, "krim", "Roti susu Hokkaido yang lembut."),
    Dish("FOC", "Focaccia Rosemary", 48000, "keju", "Minyak zaitun dan garam laut Amed."),
)
_SWEET_BREAD = (
    Dish("RCK", "Roti Cokelat Lumer", 14000, "cokelat", "Isi cokelat hitam 60 %."),
    Dish("RKJ", "Roti Keju Parut", 15000, "keju", "Krim mentega dan cheddar parut."),
    Dish("RSR", "Roti Srikaya Pandan", 14000, "pandan", "Srikaya dimasak tiga jam."),
    Dish("RAB", "Roti Abon Sapi", 18000, "rendang", "Abon Solo dan mayones."),
    Dish("RPS", "Roti Pisang Cokelat", 15000, "roti", "Pisang raja dan meses."),
    Dish("RBY", "Roti Boy Kopi", 16000, "kopi", "Kulit kopi renyah, isi mentega asin."),
    Dish("RMX", "Roti Meksiko Vanila", 15000, "krim", "Topping kukis vanila."),
    Dish("RSM", "Roti Smoked Beef", 21000, "sambal", "Daging asap, keju dan saus tomat."),
    Dish("RSS", "Roti Sosis Gulung", 17000, "goreng", "Sosis sapi, oregano."),
    Dish("RKH", "Roti Kacang Hijau", 13000, "matcha", "Kacang hijau kupas, santan."),
    Dish("RKL", "Roti Kelapa Gula Aren", 14000, "kelapa", "Unti kelapa dan gula aren."),
    Dish("RSB", "Roti Sobek Susu (8 potong)", 32000, "krim", "Dioles susu kental."),
)
_VIENNOISERIE = (
    Dish("CRO", "Croissant Mentega", 24000, "roti", "Mentega Normandia, 27 lapis."),
    Dish("CRA", "Croissant Almond Kacang", 31000, "roti", "Frangipane dan kacang almond."),
    Dish("CRK", "Croissant Keju Ham Sapi", 35000, "keju", "Gruyère dan ham sapi."),
    Dish("PAC", "Pain au Chocolat", 28000, "cokelat", "Dua batang cokelat Jembrana."),
    Dish("PAR", "Pain aux Raisins", 27000, "roti", "Krim pastri dan kismis."),
    Dish("KOU", "Kouign-Amann", 30000, "keju", "Karamel mentega asin."),
    Dish("DNS", "Danish Stroberi Ciwidey", 29000, "stroberi", "Krim vanila, stroberi Ciwidey."),
    Dish("CRF", "Cruffin Pistachio", 36000, "matcha", "Krim pistachio di dalam."),
    Dish("PST", "Palmier Gula Jawa", 19000, "roti", "Gula jawa yang meleleh."),
)
_DOUGHNUTS = (
    Dish("DGL", "Donat Gula", 10000, "roti", "Donat kentang, gula halus."),
    Dish("DCK", "Donat Cokelat", 12000, "cokelat", "Ganache cokelat hitam."),
    Dish("DMT", "Donat Matcha", 13000, "matcha", "Glasir matcha Uji."),
    Dish("DST", "Donat Stroberi", 13000, "stroberi", "Glasir stroberi segar."),
    Dish("DTI", "Donat Tiramisu", 14000, "kopi", "Isi krim mascarpone."),
    Dish("DKY", "Donat Kayu Manis", 12000, "roti", "Kayu manis Kerinci."),
)
_CAKES = (
    Dish("CBQ", "Cheesecake Basque", 42000, "keju", "Bagian atas gosong, tengah lumer."),
    Dish("CRV", "Red Velvet", 39000, "stroberi", "Krim keju, remah merah."),
    Dish("COP", "Opera", 45000, "kopi", "Sirup kopi dan ganache."),
    Dish("CPD", "Bolu Pandan Kelapa", 36000, "pandan", "Santan dan kelapa muda."),
    Dish("CLG", "Lapis Legit", 48000, "rendang", "Delapan belas lapis, prune."),
    Dish("CCB", "Crème Brûlée Tart 🍮", 41000, "krim", "Gula bakar di atas krim vanila."),
)
_BRUNCH = (
    Dish("EGB", "Eggs Benedict", 68000, "keju", "Telur poached, ham sapi, saus hollandaise."),
    Dish("EGF", "Eggs Florentine", 65000, "sayur", "Bayam, telur poached, hollandaise."),
    Dish("AVT", "Avocado Toast", 59000, "matcha", "Alpukat Garut, feta dan dukkah."),
    Dish("SHA", "Shakshuka Sambal", 62000, "sambal", "Telur dalam tomat dan sambal bajak."),
    Dish("FTB", "French Toast Brioche", 64000, "keju", "Karamel gula aren, pisang bakar."),
    Dish("PCK", "Pancake Ricotta", 61000, "krim", "Madu hutan dan stroberi."),
    Dish("BBR", "Bubur Ayam Roti Pagi", 38000, "nasi", "Cakwe, kacang kedelai, kuah kuning."),
    Dish("NUP", "Nasi Uduk Pagi", 42000, "nasi", "Ayam suwir, telur dadar, sambal kacang."),
    Dish("LTS", "Lontong Sayur Padang", 40000, "kuah", "Gulai nangka dan kerupuk merah."),
    Dish("OMT", "Omelet Jamur Truffle", 63000, "krim", "Jamur tiram dan kancing."),
    Dish("GRB", "Granola Bowl", 52000, "taro", "Yoghurt, granola kelapa, buah naga."),
    Dish("BFB", "Big Breakfast", 92000, "goreng", "Telur, sosis sapi, kacang panggang, sourdough."),
    Dish("KSB", "Kentang Rösti Salmon", 84000, "goreng", "Salmon asap dan krim asam."),
)
_SANDWICHES = (
    Dish("SCL", "Club Sandwich Ayam", 58000, "roti", "Tiga lapis, ayam panggang dan telur."),
    Dish("SRB", "Sandwich Roast Beef", 69000, "rendang", "Daging panggang, mustar dan acar."),
    Dish("STN", "Sandwich Tuna Melt", 56000, "keju", "Tuna, seledri dan cheddar."),
    Dish("SBM", "Banh Mi Ayam Serai", 52000, "sayur", "Acar wortel, ketumbar, cabai."),
    Dish("SCP", "Ciabatta Caprese", 55000, "sambal", "Mozzarella, tomat dan basil."),
    Dish("SEG", "Egg Sando", 45000, "keju", "Telur Jepang di shokupan."),
    Dish("SRD", "Sandwich Rendang", 64000, "rendang", "Rendang suwir di focaccia."),
    Dish("SVG", "Sandwich Tempe Bakar", 48000, "goreng", "Tempe bacem, selada, sambal kacang."),
)
_COOKIES = (
    Dish("KNS", "Nastar", 9000, "keju", "Selai nanas Blitar."),
    Dish("KKS", "Kastengel", 9000, "keju", "Edam tua."),
    Dish("KPS", "Putri Salju", 8500, "krim", "Mede dan gula halus."),
    Dish("KCH", "Choco Chip", 9500, "cokelat", "Cokelat hitam dan mede."),
    Dish("KSG", "Sagu Keju", 8500, "keju", "Sagu sangrai daun pandan."),
)
_COFFEE = (
    Dish("AME", "Americano", 26000, "kopi", "Biji Kintamani."),
    Dish("LAT", "Latte", 32000, "susu", "Espresso ganda dan susu."),
    Dish("CAP", "Cappuccino", 32000, "susu", "Busa tebal."),
    Dish("MOC", "Mocha", 36000, "cokelat", "Cokelat Jembrana."),
    Dish("KGA", "Kopi Gula Aren", 30000, "susu", "Gula aren Lebak."),
    Dish("MTL", "Matcha Latte", 35000, "matcha", "Matcha Uji."),
    Dish("CKP", "Cokelat Pagi", 33000, "cokelat", "Cokelat 70 %."),
    Dish("CHI", "Masala Chai", 29000, "teh", "Teh hitam, kapulaga dan jahe."),
)
_JUICES = (
    Dish("JJR", "Jus Jeruk Pontianak", 28000, "jeruk", "Diperas saat dipesan."),
    Dish("JAL", "Jus Alpukat", 30000, "matcha", "Alpukat mentega dan cokelat."),
    Dish("JSM", "Jus Semangka Kemangi", 27000, "stroberi", "Tanpa gula."),
    Dish("JBN", "Jus Buah Naga", 29000, "taro", "Buah naga Banyuwangi."),
    Dish("JNS", "Jus Nanas Mint", 27000, "keju", "Nanas Subang."),
    Dish("SMB", "Smoothie Mangga", 34000, "jeruk", "Mangga arumanis dan yoghurt."),
    Dish("KMB", "Kombucha Rosela", 32000, "stroberi", "Fermentasi sepuluh hari."),
    Dish("AIR", "Air Mineral 600 ml", 10000, "kelapa", "Dingin atau suhu ruang."),
)
_JAMS = (
    Dish("SLS", "Selai Stroberi Ciwidey", 65000, "stroberi", "250 g, gula rendah."),
    Dish("SLK", "Selai Kacang Mede", 78000, "roti", "250 g, tanpa minyak tambahan."),
    Dish("SLN", "Selai Nanas Blitar", 62000, "jeruk", "250 g, kayu manis dan cengkih."),
    Dish("STK", "Starter Sourdough", 45000, "krim", "100 g, umur tujuh tahun."),
    Dish("TPG", "Tepung Roti Protein Tinggi", 38000, "nasi", "1 kg."),
    Dish("BON", "Bonus Pelanggan", 0, "roti", "Satu kukis gratis untuk anggota."),
)

ROTI_PAGI = compose(
    Card(
        tenant_id=TENANT_ID,
        store_name="Roti Pagi Ubud",
        address="Jl. Raya Sanggingan 7, Ubud",
        groups=_GROUPS,
        sections=(
            Section("Roti Tawar", "board", _LOAVES, _LOAF, ("Penyajian",), ("panggang pagi",), tracked=True),
            Section("Roti Manis", "board", _SWEET_BREAD, groups=("Penyajian",), tracked=True),
            Section("Viennoiserie", "board", _VIENNOISERIE, groups=("Penyajian",), tags=("mentega",), tracked=True),
            Section("Donat", "plate", _DOUGHNUTS, _BOX, tracked=True),
            Section("Kue", "board", _CAKES, _CAKE, ("Penyajian",), ("pesan H-1",)),
            Section("Brunch", "plate", _BRUNCH, groups=("Telur", "Roti Pilihan", "Tambahan"), tags=("favorit",)),
            Section("Sandwich", "board", _SANDWICHES, groups=("Roti Pilihan", "Tambahan")),
            Section("Kue Kering", "plate", _COOKIES, _BOX, tags=("hadiah",), tracked=True),
            Section("Kopi & Teh", "cup", _COFFEE, _TEMPERATURE, ("Susu",)),
            Section("Jus", "glass", _JUICES, tags=("segar",)),
            Section("Dapur Rumah", "bag", _JAMS, tags=("bawa pulang",), tracked=True),
        ),
        sets=(
            SetMeal(
                Dish("PKB", "Paket Brunch Berdua", 165000, "keju", "Dua hidangan, dua kopi, satu roti."),
                "plate",
                (
                    ("Hidangan", "EGB", 1),
                    ("Hidangan", "SHA", 1),
                    ("Minuman", "LAT-HOT", 1),
                    ("Minuman", "LAT-HOT", 1),
                    ("Roti", "PAC", 1),
                ),
            ),
            SetMeal(
                Dish("PKD", "Paket Donat & Kopi", 39000, "roti", "Satu donat dan satu kopi."),
                "plate",
                (
                    ("Donat", "DGL-1", 1),
                    ("Donat", "DCK-1", 1),
                    ("Donat", "DMT-1", 1),
                    ("Minuman", "AME-HOT", 1),
                    ("Minuman", "KGA-ICE", 1),
                ),
            ),
        ),
        recipes=(
            Recipe(
                Dish("RJL", "Roti Jala Kari Ayam", 54000, "kuah", "Roti jala tipis dengan kari ayam Melayu."),
                "Brunch",
                "bowl",
                (("Tepung Terigu", "RM-TPG", 0.12), ("Santan", "RM-SNT", 0.1), ("Ayam", "RM-AYM", 0.15)),
            ),
        ),
        cases=Cases(
            empty_sku_product_id=product_id(TENANT_ID, "AIR"),
            duplicate_sku="CRO",
            no_picture="STK",
            broken_picture="JBN",
            missing_picture="RKH",
            shared_picture=("SLS", "SLN"),
            inactive="SVG",
            accented="CCB-SLICE",
            wrong_inner_group="AVT",
            variant_family=("CBQ-SLICE", "CBQ-D16", "CBQ-D22"),
            comboset="PKB",
            composite="RJL",
            to_rename_by_merchant="FTB",
            to_rename_by_pos="SRD",
            renamed_by_both="BBR",
            to_photo_by_merchant="RBY",
            to_photo_by_pos="KOU",
            to_price_by_merchant="JAL",
            to_deactivate="PCK",
            to_remove="OMT",
            nameless_product_id=product_id(TENANT_ID, "TPG"),
        ),
    )
)
